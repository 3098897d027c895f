"""What a node does now and did in the last minutes, sampled for operators: the answer of GetServerStats."""
