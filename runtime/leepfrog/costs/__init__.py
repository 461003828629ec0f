"""What models cost: the values, the places that measure them, and the measuring itself."""
