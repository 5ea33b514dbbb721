"""The paper's published numbers and claims, and how rows match them."""
