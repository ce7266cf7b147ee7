"""Messages made to cost a server more than they cost who sends them, each as a function of a size in bytes."""
