//! Who commits: what the coordinator checks a commit against.

/// The generation of those who are in none.
pub(crate) const NO_GENERATION: i32 = -1;

/// A member in its generation, as a commit names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupMetadata {
    /// The generation, or the member's epoch in the consumer protocol.
    pub generation: i32,
    /// What was read in one tenure may be committed in it, also when the epoch is another: the generation in the classic protocol.
    pub tenure: i32,
    pub member_id: String,
    pub instance_id: Option<String>,
}

impl GroupMetadata {
    /// Whether this is the member that it was when it read what `earlier` commits.
    pub fn continues(&self, earlier: &Self) -> bool {
        self.tenure == earlier.tenure && self.member_id == earlier.member_id
    }

    /// Of a consumer that assigns its partitions itself.
    pub fn standalone() -> Self {
        Self {
            generation: NO_GENERATION,
            tenure: NO_GENERATION,
            member_id: String::new(),
            instance_id: None,
        }
    }
}
