//! The canonical form of events, and the running digest of a source, as the contract's `SourceDigest`
//! defines them.

use buffa::{
    ExtensionSet, MAX_MESSAGE_BYTES, Message, SizeCache,
    types::{put_len_delimited_header, put_string_field, string_encoded_len},
};
use sha2::{Digest, Sha256};

use crate::v1::{Event, SourceDigest};

/// Field number of `Event.additional_attributes`.
const ENTRIES: u32 = 20;

/// Serializes events, one at a time, in their canonical form.
#[derive(Default)]
pub(super) struct CanonicalForm {
    form: Vec<u8>,
    entries: Vec<u8>,
    sizes: SizeCache,
}

impl CanonicalForm {
    /// Serializes an event and returns its size in bytes.
    pub fn write(&mut self, event: &Event) -> usize {
        self.form.clear();
        self.sizes.clear();
        let size = event.compute_size(&mut self.sizes);
        // What cannot be serialized has an empty form.
        if size <= MAX_MESSAGE_BYTES {
            self.form.reserve(size as usize);
            event.write_to(&mut self.sizes, &mut self.form);
            if event.additional_attributes.len() > 1 {
                self.sort_entries(event);
            }
        }
        size as usize
    }

    /// The event that was written last.
    pub fn as_bytes(&self) -> &[u8] {
        &self.form
    }

    /// Replaces the entries of the map, which are in random order.
    fn sort_entries(&mut self, event: &Event) {
        let mut attributes: Vec<(&String, &String)> = event.additional_attributes.iter().collect();
        attributes.sort_unstable();
        self.entries.clear();
        for (key, value) in attributes {
            let length = 2 + string_encoded_len(key) + string_encoded_len(value);
            put_len_delimited_header(ENTRIES, length as u64, &mut self.entries);
            put_string_field(1, key, &mut self.entries);
            put_string_field(2, value, &mut self.entries);
        }
        // Only unknown fields come after the entries.
        let end = self.form.len() - event.unknown_fields().encoded_len();
        self.form[end - self.entries.len()..end].copy_from_slice(&self.entries);
    }
}

/// The digest of the events so far.
pub(super) struct RunningDigest {
    hash: Sha256,
    events: i64,
}

impl RunningDigest {
    pub fn new(salt: &str) -> Self {
        Self { hash: Sha256::new_with_prefix(salt), events: 0 }
    }

    pub fn events(&self) -> i64 {
        self.events
    }

    /// Adds the canonical form of the next event.
    pub fn add(&mut self, form: &[u8]) {
        let length = u32::try_from(form.len()).expect("no message is so large");
        self.hash.update(length.to_be_bytes());
        self.hash.update(form);
        self.events += 1;
    }

    pub fn digest(&self) -> SourceDigest {
        let sha256 = format!("{:x}", self.hash.clone().finalize());
        SourceDigest { events: self.events, sha256, ..Default::default() }
    }
}
