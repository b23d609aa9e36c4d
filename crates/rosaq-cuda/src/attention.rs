//! Rotary embedding, the cache of keys and values, attention over it.

use half::f16;

use crate::driver::Argument;
use crate::rows::size;
use crate::{CudaDevice, CudaError, DeviceBuffer, DeviceRows, THREADS};

use Argument::{Address, Float};

/// Threads of a CTA of attention.
const ATTENTION_THREADS: u32 = 128;
/// Entries by the widest heads that they take.
const ENTRIES: [(usize, &str); 3] =
    [(64, "rosaq_attention_64"), (128, "rosaq_attention_128"), (256, "rosaq_attention_256")];

/// Sizes that attention needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadShape {
    /// Heads of queries.
    pub n_heads: usize,
    /// Heads of keys and values, a divisor of them.
    pub n_kv_heads: usize,
    /// Channels of a head: a multiple of 8, at most 256.
    pub head_dim: usize,
}

impl HeadShape {
    /// Whether there is a kernel for it.
    #[must_use]
    pub const fn is_supported(self) -> bool {
        let Self { n_heads, n_kv_heads, head_dim } = self;
        n_kv_heads > 0
            && n_heads.is_multiple_of(n_kv_heads)
            && head_dim > 0
            && head_dim.is_multiple_of(8)
            && head_dim <= 256
    }

    fn kernel(self) -> &'static str {
        assert!(self.is_supported(), "heads of {self:?}");
        let entry = ENTRIES.iter().find(|(widest, _)| self.head_dim <= *widest);
        entry.map_or(ENTRIES[2].1, |(_, kernel)| kernel)
    }
}

/// Where each token of a launch stands in its sequence and in the cache.
///
/// The numbers are checked when it is made: kernels use them as addresses.
#[derive(Debug)]
pub struct TokenPlaces {
    n_tokens: usize,
    /// Rows that the cache must have.
    n_rows: usize,
    /// Positions that the tables of angles must have.
    n_positions: usize,
    /// Positions, rows, starts and counts, `[4][n_tokens]`.
    fields: DeviceBuffer<u32>,
}

/// Which of a token's numbers.
#[derive(Debug, Clone, Copy)]
enum Field {
    Position,
    Row,
    Start,
    Count,
}

/// One token's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenPlace {
    /// Its position in its sequence, which the rotary angles follow.
    pub position: u32,
    /// The row of the cache that its key and value go to.
    pub row: u32,
    /// The first row that it sees.
    pub start: u32,
    /// The rows that it sees from there on, at least 1.
    pub count: u32,
}

impl TokenPlaces {
    /// Tokens that have a place.
    #[must_use]
    pub const fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// Positions that the tables of angles must have.
    #[must_use]
    pub const fn n_positions(&self) -> usize {
        self.n_positions
    }

    /// Other places of as many tokens, after what was launched before.
    ///
    /// # Errors
    /// As [`DeviceBuffer::write`].
    ///
    /// # Panics
    /// If there are more or fewer places, or a token sees nothing.
    pub fn write(&mut self, places: &[TokenPlace]) -> Result<(), CudaError> {
        assert_eq!(places.len(), self.n_tokens, "places and tokens");
        assert!(places.iter().all(|place| place.count > 0), "a token sees nothing");
        let end = |place: &TokenPlace| {
            (place.start as usize + place.count as usize).max(place.row as usize + 1)
        };
        self.n_rows = places.iter().map(end).max().unwrap_or(0);
        self.n_positions = places.iter().map(|p| p.position as usize + 1).max().unwrap_or(0);
        let numbers: [fn(&TokenPlace) -> u32; 4] =
            [|p| p.position, |p| p.row, |p| p.start, |p| p.count];
        let numbers: Vec<u32> = numbers.iter().flat_map(|of| places.iter().map(of)).collect();
        self.fields.write(&numbers)
    }
}

/// Cosines and sines of all positions, `[positions, head_dim / 2]`.
#[derive(Debug)]
pub struct Angles {
    cosines: DeviceRows<f32>,
    sines: DeviceRows<f32>,
}

impl Angles {
    /// Positions that there are angles of.
    #[must_use]
    pub const fn n_positions(&self) -> usize {
        self.cosines.shape().0
    }
}

impl CudaDevice {
    /// Uploads the places of the tokens of a launch.
    ///
    /// # Errors
    /// As [`CudaDevice::upload`].
    ///
    /// # Panics
    /// If a token sees nothing.
    pub fn token_places(&self, places: &[TokenPlace]) -> Result<TokenPlaces, CudaError> {
        let fields = self.zeroed(4 * places.len())?;
        let mut made = TokenPlaces { n_tokens: places.len(), n_rows: 0, n_positions: 0, fields };
        made.write(places)?;
        Ok(made)
    }

    /// The address of one number of all tokens.
    fn field(&self, places: &TokenPlaces, field: Field) -> u64 {
        let before = field as usize * places.n_tokens * size_of::<u32>();
        self.address(&places.fields) + before as u64
    }

    /// Uploads tables of angles, row-major `[positions, half]`.
    ///
    /// # Errors
    /// As [`CudaDevice::upload`].
    ///
    /// # Panics
    /// If the tables differ in length or are not whole rows.
    pub fn angles(&self, cosines: &[f32], sines: &[f32], half: usize) -> Result<Angles, CudaError> {
        assert_eq!(cosines.len(), sines.len(), "cosines and sines");
        let cosines = self.upload_f32_rows(cosines, half)?;
        Ok(Angles { cosines, sines: self.upload_f32_rows(sines, half)? })
    }

    /// Turns the heads of `x` by their tokens' angles, in place.
    ///
    /// # Errors
    /// As [`CudaError::Launch`] says.
    ///
    /// # Panics
    /// If shapes or places do not fit.
    pub fn rope(
        &self,
        x: &mut DeviceRows<f16>,
        angles: &Angles,
        places: &TokenPlaces,
    ) -> Result<(), CudaError> {
        let to = (self.address(&x.values), 0, x.stride());
        self.rope_to(x, to, angles, places)
    }

    /// Turns the heads of `keys` and puts them into the cache's rows.
    ///
    /// # Errors
    /// As [`CudaError::Launch`] says.
    ///
    /// # Panics
    /// If shapes or places do not fit.
    pub fn rope_into_cache(
        &self,
        keys: &DeviceRows<f16>,
        angles: &Angles,
        places: &TokenPlaces,
        cache: &mut DeviceRows<f16>,
    ) -> Result<(), CudaError> {
        check_cache(keys, places, cache);
        let to = (self.address(&cache.values), self.field(places, Field::Row), cache.stride());
        self.rope_to(keys, to, angles, places)
    }

    fn rope_to(
        &self,
        x: &DeviceRows<f16>,
        (y, y_rows, y_stride): (u64, u64, usize),
        angles: &Angles,
        places: &TokenPlaces,
    ) -> Result<(), CudaError> {
        let (tokens, channels) = x.shape();
        let (n_positions, half) = angles.cosines.shape();
        assert_eq!(tokens, places.n_tokens, "tokens and their places");
        assert!(channels.is_multiple_of(2 * half), "heads of {} in {channels}", 2 * half);
        assert!(places.n_positions <= n_positions, "angles of {n_positions} positions");
        self.launch_on(
            "rosaq_rope",
            ([tokens, 1], THREADS),
            0,
            vec![
                Address(self.address(&x.values)),
                Address(y),
                Address(y_rows),
                Address(self.address(&angles.cosines.values)),
                Address(self.address(&angles.sines.values)),
                Address(self.field(places, Field::Position)),
                size(channels / (2 * half))?,
                size(half)?,
                size(x.stride())?,
                size(y_stride)?,
            ],
        )
    }

    /// Puts `values` into the cache's rows.
    ///
    /// # Errors
    /// As [`CudaError::Launch`] says.
    ///
    /// # Panics
    /// If shapes or places do not fit.
    pub fn copy_into_cache(
        &self,
        values: &DeviceRows<f16>,
        places: &TokenPlaces,
        cache: &mut DeviceRows<f16>,
    ) -> Result<(), CudaError> {
        check_cache(values, places, cache);
        let (tokens, channels) = values.shape();
        self.launch_on(
            "rosaq_scatter_rows",
            ([tokens, 1], THREADS),
            0,
            vec![
                Address(self.address(&values.values)),
                Address(self.address(&cache.values)),
                Address(self.field(places, Field::Row)),
                size(channels)?,
                size(values.stride())?,
                size(cache.stride())?,
            ],
        )
    }

    /// Attention of every token over the rows of `keys` and `values` that it sees; softmax in f32.
    /// `queries` and `out`: `[tokens, n_heads * head_dim]`; `keys` and `values`: `[rows, n_kv_heads * head_dim]`.
    ///
    /// # Errors
    /// As [`CudaError::Launch`] says.
    ///
    /// # Panics
    /// If shapes or places do not fit.
    pub fn attention(
        &self,
        shape: HeadShape,
        queries: &DeviceRows<f16>,
        [keys, values]: [&DeviceRows<f16>; 2],
        places: &TokenPlaces,
        out: &mut DeviceRows<f16>,
    ) -> Result<(), CudaError> {
        let HeadShape { n_heads, n_kv_heads, head_dim } = shape;
        assert_eq!(queries.shape(), (places.n_tokens, n_heads * head_dim), "queries");
        assert_eq!(queries.shape(), out.shape(), "queries and result");
        for states in [keys, values] {
            let (rows, channels) = states.shape();
            assert_eq!(channels, n_kv_heads * head_dim, "channels of the cache");
            assert!(places.n_rows <= rows, "{} of {rows} rows", places.n_rows);
        }
        self.launch_on(
            shape.kernel(),
            ([n_kv_heads, places.n_tokens], ATTENTION_THREADS),
            0,
            vec![
                Address(self.address(&queries.values)),
                Address(self.address(&keys.values)),
                Address(self.address(&values.values)),
                Address(self.field(places, Field::Start)),
                Address(self.field(places, Field::Count)),
                Address(self.address(&out.values)),
                size(n_heads)?,
                size(n_kv_heads)?,
                size(head_dim)?,
                size(queries.stride())?,
                Float(1.0 / (head_dim as f32).sqrt()),
            ],
        )
    }
}

fn check_cache(x: &DeviceRows<f16>, places: &TokenPlaces, cache: &DeviceRows<f16>) {
    let ((tokens, channels), (rows, cache_channels)) = (x.shape(), cache.shape());
    assert_eq!(tokens, places.n_tokens, "tokens and their places");
    assert_eq!(channels, cache_channels, "channels of the cache");
    assert!(places.n_rows <= rows, "{} of {rows} rows", places.n_rows);
}
