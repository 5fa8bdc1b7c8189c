"""Text from language models: local ones and servers behind one protocol, every reply kept on disk."""
