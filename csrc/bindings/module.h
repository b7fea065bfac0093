// What the binding files offer to the module's table of contents.
#pragma once

#include <pybind11/pybind11.h>

namespace iuscore {

void bind_additive_cnn(pybind11::module_& module);          // _core
void bind_additive_cnn_cuda(pybind11::module_& module);     // _cuda
void bind_additive_lookup(pybind11::module_& module);       // _core
void bind_additive_mlp(pybind11::module_& module);          // _core
void bind_color_histogram(pybind11::module_& module);       // _core
void bind_color_histogram_cuda(pybind11::module_& module);  // _cuda
void bind_glcm(pybind11::module_& module);                  // _core
void bind_glcm_features(pybind11::module_& module);         // _core
void bind_glcm_cuda(pybind11::module_& module);             // _cuda
void bind_glcm_features_cuda(pybind11::module_& module);    // _cuda
void bind_perceptual_maps(pybind11::module_& module);       // _core
void bind_additive_lookup_cuda(pybind11::module_& module);  // _cuda
void bind_additive_mlp_cuda(pybind11::module_& module);     // _cuda
void bind_perceptual_maps_cuda(pybind11::module_& module);  // _cuda
void bind_resize(pybind11::module_& module);                // _core
void bind_resize_cuda(pybind11::module_& module);           // _cuda
void bind_texture_stats(pybind11::module_& module);         // _core
void bind_texture_stats_cuda(pybind11::module_& module);    // _cuda

// All of _cuda.
inline void bind_cuda_ops(pybind11::module_& module) {
  bind_additive_cnn_cuda(module);
  bind_additive_lookup_cuda(module);
  bind_additive_mlp_cuda(module);
  bind_color_histogram_cuda(module);
  bind_glcm_cuda(module);
  bind_glcm_features_cuda(module);
  bind_perceptual_maps_cuda(module);
  bind_resize_cuda(module);
  bind_texture_stats_cuda(module);
}

}  // namespace iuscore
