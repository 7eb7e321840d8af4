"""Which Fireworks make up a campaign, and in which order.

Firetasks are named, not imported: dynamic Firetasks build Fireworks themselves and import from here.
"""
