"""What is done to an image before the network sees it, and how a prediction goes back."""
