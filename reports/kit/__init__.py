"""What the studies share: steps that go on after a kill, intervals over seeds, claims, tables and figures."""
