//! Packed linears on a device, and their products.

use half::f16;
use rosaq_pack::device::DeviceLinear;

use crate::device::word;
use crate::driver::{Argument, Launch};
use crate::{
    CudaDevice, CudaError, DeviceBuffer, LinearPlan, THREADS, cut_batch, linear_plan, max_batch,
};

/// A packed linear on a device.
#[derive(Debug)]
pub struct CudaLinear {
    image: DeviceBuffer<u8>,
    /// Its shape and segments; the image is on the device alone.
    shape: DeviceLinear,
}

impl CudaLinear {
    /// Copies a linear's image to a device.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] where there is no room.
    pub fn upload(device: &CudaDevice, linear: DeviceLinear) -> Result<Self, CudaError> {
        let image = device.upload(&linear.image)?;
        Ok(Self { image, shape: DeviceLinear { image: Vec::new(), ..linear } })
    }

    /// Rows of the weight: values of a row of y.
    #[must_use]
    pub const fn out_features(&self) -> usize {
        self.shape.out_features
    }

    /// Channels of the weight: values of a row of x.
    #[must_use]
    pub const fn in_features(&self) -> usize {
        self.shape.in_features
    }

    /// Bytes on the device.
    #[must_use]
    pub const fn n_bytes(&self) -> usize {
        self.image.len()
    }
}

/// Rows of activations: `[batch][stride]`.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// f16 values, row after row.
    pub values: &'a DeviceBuffer<f16>,
    /// Values from one row to the next, a multiple of 8.
    pub stride: usize,
    /// Rows.
    pub batch: usize,
}

/// Where a product goes: `[batch][stride]`, the sums of f32 as they are or rounded to f16.
#[derive(Debug)]
pub enum Output<'a> {
    /// Rounded to f16; what is too large becomes infinite.
    F16(&'a mut DeviceBuffer<f16>, usize),
    /// As summed.
    F32(&'a mut DeviceBuffer<f32>, usize),
}

/// Memory that products need on the way. It grows as needed and serves one product after the other.
#[derive(Debug)]
pub struct Workspace {
    partials: DeviceBuffer<f32>,
    /// All zero before and after a product. One that fails may leave others behind: make a new workspace then.
    tickets: DeviceBuffer<u32>,
}

impl Workspace {
    /// An empty one.
    ///
    /// # Errors
    /// The driver's.
    pub fn new(device: &CudaDevice) -> Result<Self, CudaError> {
        Ok(Self { partials: device.zeroed(0)?, tickets: device.zeroed(0)? })
    }

    fn reserve(&mut self, device: &CudaDevice, plan: &LinearPlan) -> Result<(), CudaError> {
        if self.partials.len() < plan.n_partials {
            self.partials = device.zeroed(plan.n_partials)?;
        }
        if self.tickets.len() < plan.n_tickets {
            self.tickets = device.zeroed(plan.n_tickets)?;
        }
        Ok(())
    }
}

/// Where one launch reads and writes.
struct Part {
    x: u64,
    y: u64,
    batch: usize,
    y_stride: usize,
    y_is_f32: bool,
}

impl CudaDevice {
    /// `y = x wᵀ`, with f32 sums; x is `[batch][in_features]`, y `[batch][out_features]`. Batches above [`max_batch`] are cut.
    ///
    /// It does not wait: a kernel that fails is reported by the next copy to the host or by `synchronize`.
    ///
    /// # Errors
    /// [`CudaError::Ptx`] or [`CudaError::Launch`], or no memory for the workspace.
    ///
    /// # Panics
    /// If `x` or `y` has fewer values than its rows and stride say, a stride is shorter than a row, x's is no multiple of 8,
    /// or a buffer is another device's.
    pub fn multiply(
        &self,
        linear: &CudaLinear,
        x: Rows<'_>,
        y: Output<'_>,
        workspace: &mut Workspace,
    ) -> Result<(), CudaError> {
        let (y_address, y_len, y_stride, y_is_f32) = match &y {
            Output::F16(values, stride) => (self.address(values), values.len(), *stride, false),
            Output::F32(values, stride) => (self.address(values), values.len(), *stride, true),
        };
        check_rows("x", x.values.len(), x.batch, (x.stride, linear.in_features()));
        check_rows("y", y_len, x.batch, (y_stride, linear.out_features()));
        assert!(
            x.stride.is_multiple_of(8),
            "rows of x every {} values, not a multiple of 8",
            x.stride
        );
        let (x_bytes, y_bytes) = (size_of::<f16>(), if y_is_f32 { 4 } else { 2 });
        for rows in cut_batch(&linear.shape, x.batch) {
            let part = Part {
                x: self.address(x.values) + (rows.start * x.stride * x_bytes) as u64,
                y: y_address + (rows.start * y_stride * y_bytes) as u64,
                batch: rows.len(),
                y_stride,
                y_is_f32,
            };
            self.multiply_part(linear, x.stride, &part, workspace)?;
        }
        Ok(())
    }

    /// One launch, for a batch up to [`max_batch`].
    fn multiply_part(
        &self,
        linear: &CudaLinear,
        x_stride: usize,
        part: &Part,
        workspace: &mut Workspace,
    ) -> Result<(), CudaError> {
        debug_assert!(part.batch <= max_batch(&linear.shape), "a batch was cut");
        let plan = linear_plan(&linear.shape, part.batch, self.n_multiprocessors());
        workspace.reserve(self, &plan)?;
        let arguments = vec![
            Argument::Address(self.address(&linear.image)),
            word("segments", linear.shape.segments.len())?,
            word("out_features", linear.out_features())?,
            word("in_features", linear.in_features())?,
            Argument::Address(part.x),
            word("the stride of x", x_stride)?,
            word("the batch", part.batch)?,
            Argument::Address(part.y),
            word("the stride of y", part.y_stride)?,
            Argument::Word(part.y_is_f32.into()),
            Argument::Address(self.address(&workspace.partials)),
            Argument::Address(self.address(&workspace.tickets)),
        ];
        self.launch(&Launch {
            kernel: plan.kernel,
            grid: plan.grid,
            threads: THREADS,
            shared_bytes: plan.shared_bytes,
            arguments,
        })
    }
}

/// Panics unless `len` values hold `batch` rows of `(stride, row)`; the last row need not reach its stride.
fn check_rows(name: &str, len: usize, batch: usize, (stride, row): (usize, usize)) {
    assert!(row <= stride, "rows of {name} every {stride} values, expected {row} or more");
    let needed = batch.checked_sub(1).map_or(0, |before| before * stride + row);
    assert!(
        needed <= len,
        "{name} of {len} values, expected {needed}: {batch} rows every {stride}"
    );
}
