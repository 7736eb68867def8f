//! GPUs through NVIDIA's management library, where the node has it: nothing is linked, nothing is needed.
//!
//! Names and layouts: NVML API reference, "Initialization and Cleanup", "Device Queries" (nvmlUtilization_t, nvmlMemory_t).

use burst_capture::sampler::{Gpu, GpuLook};
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::path::Path;

/// Without the driver's device there is no GPU, and no library is looked for.
const DRIVER: &str = "/dev/nvidiactl";
/// Its name.
const LIBRARY: &CStr = c"libnvidia-ml.so.1";
/// Most GPUs of a node.
const MOST: c_uint = 64;
/// NVML_SUCCESS.
const OK: c_int = 0;

/// `nvmlUtilization_t`: per cent of the last sampling period.
#[repr(C)]
#[derive(Default)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

/// `nvmlMemory_t`, bytes.
#[repr(C)]
#[derive(Default)]
struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

type Plain = unsafe extern "C" fn() -> c_int;
type Count = unsafe extern "C" fn(*mut c_uint) -> c_int;
type Handle = unsafe extern "C" fn(c_uint, *mut *mut c_void) -> c_int;
type Rates = unsafe extern "C" fn(*mut c_void, *mut Utilization) -> c_int;
type Used = unsafe extern "C" fn(*mut c_void, *mut Memory) -> c_int;

/// The open library; never closed, as its own threads may live on.
pub struct Nvml {
    devices: Vec<*mut c_void>,
    rates: Rates,
    memory: Used,
    shutdown: Plain,
}

/// Opens it in the calling thread.
pub fn open() -> Option<Box<dyn Gpu>> {
    if !Path::new(DRIVER).exists() {
        return None;
    }
    Some(Box::new(Nvml::open(LIBRARY)?))
}

impl Nvml {
    /// Opens a library by name.
    pub fn open(name: &CStr) -> Option<Self> {
        // SAFETY: a NUL-terminated name; the constructors of NVIDIA's library are what every program that uses it runs.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return None;
        }
        let symbol = |name: &CStr| {
            // SAFETY: a live handle and a NUL-terminated name.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            (!found.is_null()).then_some(found)
        };
        // SAFETY: these are the documented types of the functions of these names.
        let (init, shutdown, count, handle, rates, memory) = unsafe {
            (
                std::mem::transmute::<*mut c_void, Plain>(symbol(c"nvmlInit_v2")?),
                std::mem::transmute::<*mut c_void, Plain>(symbol(c"nvmlShutdown")?),
                std::mem::transmute::<*mut c_void, Count>(symbol(c"nvmlDeviceGetCount_v2")?),
                std::mem::transmute::<*mut c_void, Handle>(symbol(c"nvmlDeviceGetHandleByIndex_v2")?),
                std::mem::transmute::<*mut c_void, Rates>(symbol(c"nvmlDeviceGetUtilizationRates")?),
                std::mem::transmute::<*mut c_void, Used>(symbol(c"nvmlDeviceGetMemoryInfo")?),
            )
        };
        // SAFETY: no arguments.
        if unsafe { init() } != OK {
            return None;
        }
        let mut number = 0;
        // SAFETY: `number` is what it fills.
        if unsafe { count(&raw mut number) } != OK {
            number = 0;
        }
        let device = |index| {
            let mut device = std::ptr::null_mut();
            // SAFETY: `device` is what it fills; the index is below the count.
            (unsafe { handle(index, &raw mut device) } == OK).then_some(device)
        };
        let devices = (0..number.min(MOST)).filter_map(device).collect();
        Some(Self { devices, rates, memory, shutdown })
    }
}

impl Gpu for Nvml {
    fn look(&mut self) -> Option<GpuLook> {
        let (mut busy, mut busy_of, mut used) = (0_u32, 0_u32, None);
        for device in &self.devices {
            let mut rates = Utilization::default();
            // SAFETY: a device that the library gave, and a struct of the type it fills.
            if unsafe { (self.rates)(*device, &raw mut rates) } == OK {
                busy = busy.saturating_add(rates.gpu.min(100));
                busy_of += 1;
            }
            let mut memory = Memory::default();
            // SAFETY: as above.
            if unsafe { (self.memory)(*device, &raw mut memory) } == OK {
                used = Some(memory.used.saturating_add(used.unwrap_or(0)));
            }
        }
        let count = u32::try_from(self.devices.len()).ok().filter(|n| *n > 0)?;
        let busy = (busy_of > 0).then(|| f64::from(busy) / f64::from(busy_of) / 100.0);
        Some(GpuLook { count, busy, used_bytes: used })
    }
}

impl Drop for Nvml {
    fn drop(&mut self) {
        // SAFETY: no arguments; every init has its shutdown.
        unsafe { (self.shutdown)() };
    }
}
