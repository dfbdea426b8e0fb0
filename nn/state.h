// ModelState: everything a model owns between steps, and its way in and out of safetensors.
//   params:  what the optimizer updates (core/params.h);
//   buffers: running_mean, running_var [C] and num_batches_tracked [] (i64) of each batch norm, in
//            that order, layer after layer.
// Names and layouts are those of the reference PyTorch code, so files travel both ways.
#pragma once
#include <string>

#include "basin/core/io.h"
#include "basin/core/params.h"
#include "basin/core/safetensors.h"

namespace basin {

struct ModelState {
  ParamList params;
  ParamList buffers;

  ModelState clone() const { return {params.clone(), buffers.clone()}; }
  ModelState to(DType dtype) const { return {params.to(dtype), buffers.to(dtype)}; }
  ModelState to(Device device) const { return {params.to(device), buffers.to(device)}; }
};

// The tensors under their reference shapes, e.g. [64, 3, 1] for a 1-D convolution.
SafetensorsFile state_file(const ModelState& state);
void save_state(const fs::path& path, const ModelState& state);  // atomic

// The tensors under the names that a model has (`known`: of its parameters and buffers). Left out are
// what wrappers of PyTorch add, "module." and "_orig_mod." among them, wherever it stands in a name,
// and the prefix ("model.", "net.encoder.") under which most of the known names are found; the log
// says so. data error naming `source` where two tensors then have one name.
SafetensorsFile under_known_names(SafetensorsFile file, const std::string& source,
                                  const std::vector<std::string>& known);

// Overwrites the values of `state` in place. Accepts Basin's shape or the reference shape, either
// float type, and the names of under_known_names(). A name of a parameter or buffer that is missing,
// an extra tensor or another shape is a data error that lists the names. But what only keeps count
// is no weight: a counter that is missing (num_batches_tracked) is zero, an extra tensor that is
// named like a buffer or holds integers draws a warning, and one that repeats a tensor of the model
// byte for byte (a module that PyTorch wrote under two names) is passed over, as are the constants
// radial_basis.* that GotenNet computes. Nothing is written unless everything fits.
//   skip_head: a layer of role `head` whose shape in the file is another one keeps its values: for
//              weights that were trained on another number of classes.
struct LoadStateOptions {
  bool skip_head = false;
};
void load_state(const fs::path& path, ModelState& state, const LoadStateOptions& options = {});
void load_state(const SafetensorsFile& file, const std::string& source, ModelState& state,
                const LoadStateOptions& options = {});

}  // namespace basin
