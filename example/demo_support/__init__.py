"""What the demo needs beside the album: its servers, a browser's part, and a look at the tiers themselves."""
