"""What a project may use beside the chain, and may leave out."""
