//! 128-bit vectors as arrays of elements, element 0 in the least significant bits: for the interpreter and the helpers of front
//! ends.

macro_rules! lanes {
    ($name:ident, $u:ty, $n:expr) => {
        /// Vectors as arrays of elements.
        pub mod $name {
            const SIZE: usize = size_of::<$u>();
            /// The elements.
            #[inline(always)]
            pub fn split(v: u128) -> [$u; $n] {
                let bytes = v.to_le_bytes();
                std::array::from_fn(|i| {
                    let mut lane = [0; SIZE];
                    lane.copy_from_slice(&bytes[i * SIZE..(i + 1) * SIZE]);
                    <$u>::from_le_bytes(lane)
                })
            }
            /// The vector.
            #[inline(always)]
            pub fn join(lanes: [$u; $n]) -> u128 {
                let mut bytes = [0; 16];
                for (i, lane) in lanes.iter().enumerate() {
                    bytes[i * SIZE..(i + 1) * SIZE].copy_from_slice(&lane.to_le_bytes());
                }
                u128::from_le_bytes(bytes)
            }
        }
    };
}
lanes!(l8, u8, 16);
lanes!(l16, u16, 8);
lanes!(l32, u32, 4);
lanes!(l64, u64, 2);
