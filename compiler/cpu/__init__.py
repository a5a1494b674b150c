"""Networks on CPUs: layers of the graph as tensor expressions, their schedules, and native code."""
