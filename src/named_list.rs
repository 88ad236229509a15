//! Lists whose entries have a name and a meaning that people read: what is counted, what has a level,
//! which faults there are. An entry is said once.

/// Makes an enum of such a list, with [`ALL`](crate::shard::Counter::ALL), `name` and `meaning`.
macro_rules! named_list {
    ($(#[$doc:meta])* $list:ident: $($variant:ident $name:literal $meaning:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $list { $(#[doc = $meaning] $variant,)* }

        impl $list {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it is, in words.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

pub(crate) use named_list;
