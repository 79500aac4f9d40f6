//! What a schema names, and what that names in turn. In: the schema. Out: all of them, each before those that name it, or which one is missing.

use std::collections::HashSet;

use super::schema::{RegisteredSchema, SchemaReference};
use super::{RegistryError, SchemaRegistry};

/// The most schemas that one may name, and those that these name, and the most that their texts may have: what is read of a registry is bounded.
const MOST: usize = 1_000;
const MOST_BYTES: usize = 16 << 20;

/// What is to be done next: schemas come after those that they name.
enum Step {
    Ask(SchemaReference),
    Take(SchemaReference, RegisteredSchema),
}

impl SchemaRegistry {
    /// All that `schema` refers to, and what that refers to in turn: each before those that refer to it, and once, also where several do. None where
    /// it refers to nothing. Asks for each of them.
    ///
    /// Fails where one of them is missing, with its name, and beyond 1,000 of them or 16 MiB. Cancel safe.
    pub async fn references(
        &self,
        schema: &RegisteredSchema,
    ) -> Result<Vec<(SchemaReference, RegisteredSchema)>, RegistryError> {
        let mut asked = HashSet::new();
        let mut all = Vec::new();
        let mut bytes = 0usize;
        let in_order = |references: &[SchemaReference]| {
            let last_first = references.iter().rev();
            last_first.cloned().map(Step::Ask).collect::<Vec<_>>()
        };
        let mut open = in_order(&schema.references);
        while let Some(step) = open.pop() {
            match step {
                Step::Take(reference, schema) => all.push((reference, schema)),
                Step::Ask(reference) => {
                    if !asked.insert(reference.clone()) {
                        continue;
                    }
                    let found = self.referred_to(&reference).await;
                    let found = found.map_err(|error| missing(&reference, &error))?;
                    bytes = bytes.saturating_add(found.text.len());
                    if asked.len() > MOST || bytes > MOST_BYTES {
                        return Err(RegistryError::permanent(format!(
                            "the schema refers to more than {MOST} others, or to more than {} MiB of them",
                            MOST_BYTES >> 20
                        )));
                    }
                    let inner = in_order(&found.references);
                    open.push(Step::Take(reference, found));
                    open.extend(inner);
                }
            }
        }
        Ok(all)
    }
}

/// That the registry does not have it says nothing of the schema that refers to it, which is there.
fn missing(reference: &SchemaReference, error: &RegistryError) -> RegistryError {
    let SchemaReference {
        name,
        subject,
        version,
    } = reference;
    let message = format!(
        "the schema refers to {name:?}, version {version} of the subject {subject}: {error}"
    );
    match error.may_pass() {
        true => RegistryError::unavailable(message),
        false => RegistryError::permanent(message),
    }
}
