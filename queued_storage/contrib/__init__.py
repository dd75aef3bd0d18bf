"""What a project may use beside the chain, and may leave out; what needs a library of its own has an extra for it."""
