"""From encoder states to text: batched beam search, step by step, with CTC prefix scores on request."""
