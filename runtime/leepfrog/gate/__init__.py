"""Run results again and compare them with the earlier run."""
