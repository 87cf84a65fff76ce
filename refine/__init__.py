"""How an answer gets better: the refiner, rewards, tree search, preference pairs."""
