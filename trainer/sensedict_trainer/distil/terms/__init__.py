"""The terms of an objective, a file each: a new loss is one small file here, and its name one of the recipe's."""
