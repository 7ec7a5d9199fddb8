"""The group `policy.marline.io`: Marline's own policies, attached to what they are for by `targetRefs`."""
