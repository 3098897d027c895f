"""What reads bytes of strangers, and what must come of any bytes."""
