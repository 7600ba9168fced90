"""How good a dictionary's senses are as senses of words: `sensedict eval-senses`."""
