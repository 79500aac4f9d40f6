//! What holds for positions, whatever happens in between.
