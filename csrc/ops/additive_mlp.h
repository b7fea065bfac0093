// Contract of the op `additive_mlp`: docs/additive_mlp.md.
#pragma once

#include <cstdint>

namespace iuscore {

// G networks of two hidden layers, each for its own columns of x. CPU: host memory; CUDA: device memory, all of it.
struct AdditiveMlpArgs {
  const float* x;  // [rows, F]
  std::int64_t stride_row;
  std::int64_t stride_input;        // in elements
  std::int64_t rows;                // >= 0
  const std::int32_t* first_input;  // [G + 1], ascending from 0 to F: group g has columns first_input[g] to [g + 1] - 1
  std::int32_t groups;              // G >= 1
  std::int32_t largest_group;       // columns of the largest group
  std::int32_t inputs;              // F
  std::int32_t hidden_1;            // H1 >= 1
  std::int32_t hidden_2;            // H2 >= 1
  std::int32_t outputs;             // C >= 1
  const float* w1;                  // [F, H1], contiguous as all below
  const float* b1;                  // [G, H1]
  const float* w2;                  // [G, H1, H2]
  const float* b2;                  // [G, H2]
  const float* w3;                  // [G, H2, C]
  const float* b3;                  // [G, C]
  float* contributions;             // [rows, G, C]; this and `total` are written by the forward pass only
  float* total;                     // [rows, C]: contributions added up, groups ascending
};

// Gradients of a number that depends on contributions and total. The derivative of a ReLU is 0 where its output is 0.
struct AdditiveMlpGradients {
  const float* contributions;  // [rows, G, C], or null: zeros
  const float* total;          // [rows, C], or null: zeros; added to the gradient of every group's contributions
  float* x;                    // [rows, F], or null: not wanted
  float* w1;                   // as the weights themselves
  float* b1;
  float* w2;
  float* b2;
  float* w3;
  float* b3;
};

void additive_mlp_cpu(const AdditiveMlpArgs& args, std::int32_t threads);
void additive_mlp_backward_cpu(const AdditiveMlpArgs& args, const AdditiveMlpGradients& gradients,
                               std::int32_t threads);

struct AdditiveMlpCudaArgs {
  AdditiveMlpArgs mlp;
  float* workspace;              // the workspace function's bytes; not read where that is 0
  std::int64_t workspace_bytes;  // of `workspace`
  std::int32_t device;           // ordinal; becomes the calling thread's current device
  std::int32_t threads;          // of a block: a multiple of 32 up to kMaxMlpBlock, or 0 to have it chosen
};

constexpr std::int32_t kMaxMlpBlock = 256;

// Queue the kernels on `stream` (a cudaStream_t). Throw std::runtime_error with CUDA's reason.
void additive_mlp_cuda(const AdditiveMlpCudaArgs& args, void* stream);
void additive_mlp_backward_cuda(const AdditiveMlpCudaArgs& args, const AdditiveMlpGradients& gradients, void* stream);

// Bytes of device memory args.workspace must hold. They read the sizes of `args`, no address.
std::int64_t additive_mlp_cuda_workspace(const AdditiveMlpCudaArgs& args);
std::int64_t additive_mlp_backward_cuda_workspace(const AdditiveMlpCudaArgs& args);

}  // namespace iuscore
