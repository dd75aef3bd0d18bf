"""kill -9 at every step of a save, a transfer and a delete, in processes of their own."""
