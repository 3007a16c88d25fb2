"""Images, from wherever they lie to one array with splits and views."""
