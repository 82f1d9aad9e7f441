"""Where each tile reads, and which pixels of it are kept: geometry only."""
