//! Bytes and a plan in, serde's view of a value out. Nothing is allocated by a number from the bytes, and nothing nests deeper than
//! [`DEEPEST`].

use std::fmt::Display;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, EnumAccess, IgnoredAny, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::plan::{Plan, RecordStep, Step, StepId};
use super::primitive::Input;
use super::{AvroError, decimal};

/// How deep records, lists and unions may stand in each other: a schema that refers to itself lets the data decide.
const DEEPEST: usize = 64;
/// How many items without a byte of their own a datum may have: lists of nulls, which cost their reader but not their writer.
const MOST_EMPTY_ITEMS: usize = 1 << 16;

/// Reads one datum, all of `data`.
pub(super) fn decode<'de, T: Deserialize<'de>>(
    plan: &'de Plan,
    data: &'de [u8],
) -> Result<T, AvroError> {
    let mut decoder = Decoder {
        plan,
        input: Input(data),
        empty_items: 0,
    };
    let value = T::deserialize(At {
        decoder: &mut decoder,
        step: plan.root,
        depth: 0,
        place: None,
    })?;
    match decoder.input.0.len() {
        0 => Ok(value),
        more => Err(AvroError::new(format!("{more} bytes are left over"))),
    }
}

struct Decoder<'de> {
    plan: &'de Plan,
    input: Input<'de>,
    /// How many items took no bytes so far.
    empty_items: usize,
}

/// One value is to be read by one step.
struct At<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    step: StepId,
    depth: usize,
    /// The place in the union that led here, those that are null not counted.
    place: Option<usize>,
}

impl de::Error for AvroError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

impl<'de> At<'_, 'de> {
    fn step(&self) -> &'de Step {
        self.decoder.plan.step(self.step)
    }

    fn within(&self) -> Result<usize, AvroError> {
        match self.depth < DEEPEST {
            true => Ok(self.depth + 1),
            false => Err(AvroError::new(format!(
                "values stand more than {DEEPEST} deep in each other"
            ))),
        }
    }

    /// Follows unions to what is there.
    fn chosen(mut self) -> Result<Self, AvroError> {
        while let Step::Union(branches) = self.step() {
            self.depth = self.within()?;
            let place = self.decoder.input.long()?;
            let branch = usize::try_from(place).ok();
            let branch = branch.filter(|place| *place < branches.len());
            let branch =
                branch.ok_or_else(|| AvroError::new(format!("a union has no branch {place}")))?;
            let nulls = branches[..branch].iter();
            let nulls = nulls.filter(|it| matches!(self.decoder.plan.step(**it), Step::Null));
            self.place = Some(branch - nulls.count());
            self.step = branches[branch];
        }
        Ok(self)
    }

    /// What is there already is passed over.
    fn pass_over(self) -> Result<(), AvroError> {
        IgnoredAny::deserialize(self).map(|_| ())
    }
}

impl<'de> de::Deserializer<'de> for At<'_, 'de> {
    type Error = AvroError;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, AvroError> {
        let it = self.chosen()?;
        let step = it.step();
        let input = &mut it.decoder.input;
        match step {
            Step::Null => visitor.visit_unit(),
            Step::Boolean => match input.byte()? {
                0 => visitor.visit_bool(false),
                1 => visitor.visit_bool(true),
                byte => Err(AvroError::new(format!("{byte} is no boolean"))),
            },
            Step::Int => visitor.visit_i32(input.int()?),
            Step::Long => visitor.visit_i64(input.long()?),
            Step::Float => visitor.visit_f32(f32::from_le_bytes(input.array()?)),
            Step::Double => visitor.visit_f64(f64::from_le_bytes(input.array()?)),
            Step::Bytes(decimal) => any_bytes(input.bytes()?, *decimal, visitor),
            Step::String => visitor.visit_borrowed_str(input.text()?),
            Step::Fixed(size, decimal) => any_bytes(input.take(*size)?, *decimal, visitor),
            Step::Enum(symbols) => visitor.visit_borrowed_str(symbol(symbols, input)?),
            Step::Array(of) => {
                let depth = it.within()?;
                visitor.visit_seq(Blocks::new(it.decoder, *of, depth))
            }
            Step::Map(of) => {
                let depth = it.within()?;
                visitor.visit_map(Blocks::new(it.decoder, *of, depth))
            }
            Step::Record(record) => {
                let depth = it.within()?;
                visitor.visit_map(Fields {
                    decoder: it.decoder,
                    record,
                    depth,
                    next: 0,
                })
            }
            Step::Union(_) => Err(AvroError::new("a union stands in a union")),
            Step::Mismatch(why) => Err(AvroError::new(why.clone())),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, AvroError> {
        let it = self.chosen()?;
        match it.step() {
            Step::Bytes(_) => visitor.visit_borrowed_bytes(it.decoder.input.bytes()?),
            Step::Fixed(size, _) => visitor.visit_borrowed_bytes(it.decoder.input.take(*size)?),
            _ => it.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, AvroError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, AvroError> {
        let it = self.chosen()?;
        match it.step() {
            Step::Null => visitor.visit_none(),
            _ => visitor.visit_some(it),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, AvroError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, AvroError> {
        let it = self.chosen()?;
        match it.step() {
            Step::Enum(symbols) => {
                let symbol = symbol(symbols, &mut it.decoder.input)?;
                visitor.visit_enum(symbol.into_deserializer())
            }
            Step::String => {
                let symbol = it.decoder.input.text()?;
                visitor.visit_enum(symbol.into_deserializer())
            }
            _ => visitor.visit_enum(Variant { at: it, variants }),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, AvroError> {
        match self.step() {
            // No matter what it says.
            Step::Bytes(_) | Step::String => {
                self.decoder.input.bytes()?;
                visitor.visit_unit()
            }
            Step::Enum(_) => {
                self.decoder.input.long()?;
                visitor.visit_unit()
            }
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string unit unit_struct seq tuple tuple_struct map
        struct identifier
    }
}

/// Bytes for whoever takes what comes; of a decimal its number, as text.
fn any_bytes<'de, V: Visitor<'de>>(
    bytes: &'de [u8],
    decimal: Option<usize>,
    visitor: V,
) -> Result<V::Value, AvroError> {
    match decimal.and_then(|places| Some(decimal::show(decimal::units(bytes)?, places))) {
        Some(number) => visitor.visit_string(number),
        None => visitor.visit_borrowed_bytes(bytes),
    }
}

fn symbol<'de>(
    symbols: &'de [Option<String>],
    input: &mut Input<'de>,
) -> Result<&'de str, AvroError> {
    let place = input.long()?;
    let known = usize::try_from(place)
        .ok()
        .and_then(|place| symbols.get(place));
    match known {
        Some(Some(symbol)) => Ok(symbol),
        Some(None) => Err(AvroError::new(format!(
            "the enum's symbol {place} is one that the reader's schema does not have, and it has no default"
        ))),
        None => Err(AvroError::new(format!("an enum has no symbol {place}"))),
    }
}

/// The blocks of an array or of a map.
struct Blocks<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    of: StepId,
    depth: usize,
    /// Items left in the block; `None` before the first, or after the last.
    left: u64,
    is_over: bool,
}

impl<'a, 'de> Blocks<'a, 'de> {
    fn new(decoder: &'a mut Decoder<'de>, of: StepId, depth: usize) -> Self {
        Self {
            decoder,
            of,
            depth,
            left: 0,
            is_over: false,
        }
    }

    /// Whether there is another item.
    fn advance(&mut self) -> Result<bool, AvroError> {
        if self.left == 0 && !self.is_over {
            let count = self.decoder.input.long()?;
            if count < 0 {
                // The block's length in bytes: for those who pass it over whole.
                self.decoder.input.long()?;
            }
            self.left = count.unsigned_abs();
            self.is_over = count == 0;
        }
        if self.is_over {
            return Ok(false);
        }
        self.left -= 1;
        Ok(true)
    }

    fn item<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, AvroError> {
        let before = self.decoder.input.0.len();
        let value = seed.deserialize(At {
            decoder: self.decoder,
            step: self.of,
            depth: self.depth,
            place: None,
        })?;
        if self.decoder.input.0.len() == before {
            self.decoder.empty_items += 1;
            if self.decoder.empty_items > MOST_EMPTY_ITEMS {
                return Err(AvroError::new(format!(
                    "more than {MOST_EMPTY_ITEMS} items have no bytes"
                )));
            }
        }
        Ok(value)
    }

    /// What is sure to come in this block, as far as its bytes are there.
    fn hint(&self) -> usize {
        let bytes = self.decoder.input.0.len();
        usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes)
    }
}

impl<'de> SeqAccess<'de> for Blocks<'_, 'de> {
    type Error = AvroError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, AvroError> {
        match self.advance()? {
            true => self.item(seed).map(Some),
            false => Ok(None),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> MapAccess<'de> for Blocks<'_, 'de> {
    type Error = AvroError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, AvroError> {
        if !self.advance()? {
            return Ok(None);
        }
        let key = self.decoder.input.text()?;
        seed.deserialize(BorrowedStrDeserializer::new(key))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, AvroError> {
        self.item(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

/// The fields of a record: those that were written, then those that the writer did not know.
struct Fields<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    record: &'de RecordStep,
    depth: usize,
    next: usize,
}

impl<'de> Fields<'_, 'de> {
    fn at(&mut self, step: StepId) -> At<'_, 'de> {
        At {
            decoder: self.decoder,
            step,
            depth: self.depth,
            place: None,
        }
    }

    fn of<T>(&self, name: &str, result: Result<T, AvroError>) -> Result<T, AvroError> {
        result.map_err(|why| AvroError::new(format!("{}.{name}: {why}", self.record.name)))
    }
}

impl<'de> MapAccess<'de> for Fields<'_, 'de> {
    type Error = AvroError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, AvroError> {
        let record = self.record;
        while let Some(field) = record.fields.get(self.next) {
            if let Some(name) = &field.name {
                return seed
                    .deserialize(BorrowedStrDeserializer::new(name))
                    .map(Some);
            }
            self.next += 1;
            self.at(field.step).pass_over()?;
        }
        match record.defaults.get(self.next - record.fields.len()) {
            Some((name, ..)) => seed
                .deserialize(BorrowedStrDeserializer::new(name))
                .map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, AvroError> {
        let (record, place) = (self.record, self.next);
        self.next += 1;
        if let Some(field) = record.fields.get(place) {
            let name = field.name.as_deref().unwrap_or_default();
            let value = seed.deserialize(self.at(field.step));
            return self.of(name, value);
        }
        let Some((name, default, step)) = record.defaults.get(place - record.fields.len()) else {
            return Err(AvroError::new("a value without a key"));
        };
        let mut decoder = Decoder {
            plan: self.decoder.plan,
            input: Input(default),
            empty_items: 0,
        };
        let value = seed.deserialize(At {
            decoder: &mut decoder,
            step: *step,
            depth: self.depth,
            place: None,
        });
        self.of(name, value)
    }
}

/// The variant of an enum that has a value.
struct Variant<'a, 'de> {
    at: At<'a, 'de>,
    variants: &'static [&'static str],
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a, 'de> {
    type Error = AvroError;
    type Variant = At<'a, 'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), AvroError> {
        let called = match self.at.step() {
            Step::Record(record) => self.variants.iter().find(|it| **it == record.name),
            _ => None,
        };
        let place = self.at.place.and_then(|place| self.variants.get(place));
        let Some(name) = called.or(place) else {
            return Err(AvroError::new("no variant is meant by what is there"));
        };
        let variant = seed.deserialize(BorrowedStrDeserializer::<AvroError>::new(name))?;
        Ok((variant, self.at))
    }
}

impl<'de> VariantAccess<'de> for At<'_, 'de> {
    type Error = AvroError;

    fn unit_variant(self) -> Result<(), AvroError> {
        self.pass_over()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, AvroError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, AvroError> {
        de::Deserializer::deserialize_any(self, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, AvroError> {
        de::Deserializer::deserialize_any(self, visitor)
    }
}
