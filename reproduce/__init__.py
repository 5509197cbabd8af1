"""A release built again, elsewhere and otherwise, and compared bit for bit."""
