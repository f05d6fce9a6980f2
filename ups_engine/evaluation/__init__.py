"""What a run is judged by: metrics in physical units, and the report that holds them."""
