"""`sensedict doctor`: looks for the usual mistakes, and tells the fix for each."""
