// Launcher.
#include "cuda/additive_lookup.cuh"
#include "cuda/launch.h"

namespace iuscore {

void additive_lookup_cuda(const AdditiveLookupCudaArgs& args, void* stream) {
  const AdditiveLookupArgs& lookup = args.lookup;
  if (lookup.rows == 0) return;
  const Launcher launcher("additive_lookup", args.device);
  const CurrentDevice current = launcher.use_device();
  launcher.launch(additive_lookup_kernel, (lookup.rows + kLookupRows - 1) / kLookupRows,
                  args.threads > 0 ? args.threads : 128, 0, stream, lookup);
}

}  // namespace iuscore
