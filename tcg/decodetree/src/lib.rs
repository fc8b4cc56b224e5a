//! Build-time generator of instruction decoders.
