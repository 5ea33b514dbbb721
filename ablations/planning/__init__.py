"""What a study will take, before it is launched; and what it took, held against that."""
