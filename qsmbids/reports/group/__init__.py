"""Tables and page of the group level."""
