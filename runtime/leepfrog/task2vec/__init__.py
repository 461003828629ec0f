"""TASK2VEC: task embeddings from the Fisher information of a probe network's filters (Achille et al., ICCV 2019)."""
