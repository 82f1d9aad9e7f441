"""What did a network look at? And would the map be the same if it had learnt nothing."""
