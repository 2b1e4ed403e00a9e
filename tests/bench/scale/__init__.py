"""Whether a request costs the same however many models, connections and waiting requests there are."""
