//! Who commits: what the coordinator checks a commit against.

/// The generation of those who are in none.
pub(crate) const NO_GENERATION: i32 = -1;

/// A member in its generation, as a commit names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupMetadata {
    pub generation: i32,
    pub member_id: String,
    pub instance_id: Option<String>,
}

impl GroupMetadata {
    /// Of a consumer that assigns its partitions itself.
    pub fn standalone() -> Self {
        Self {
            generation: NO_GENERATION,
            member_id: String::new(),
            instance_id: None,
        }
    }
}
