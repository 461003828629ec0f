"""TASK2VEC: tasks embedded as the Fisher information of a probe network's filters (Achille et al., ICCV 2019)."""
