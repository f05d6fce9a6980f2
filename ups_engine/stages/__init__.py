"""The stages of a run, one file each, all of one shape; `registry` names them in order."""
