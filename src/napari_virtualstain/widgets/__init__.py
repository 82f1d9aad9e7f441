"""What a user sees and clicks: the only room with Qt in it."""
