"""The terminal interface: it watches a run's folder and sends commands; it never trains and never imports torch."""
