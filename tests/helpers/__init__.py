"""What tests share: drawn digits, small networks, copies of the project."""
