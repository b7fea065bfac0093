# The module _cuda. Sets IUSCORE_CUDA_STATUS. Included where an nvcc was found. With IUSCORE_CUDA=AUTO a CUDA that cannot
# build the module is a line of the status, not an error.

# Architectures: as asked (the variable or CUDAARCHS), or those of the GPUs in this machine, or those of a wheel.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
  # Machine code for Ampere (also run by Ada), Hopper and Blackwell; the virtual parts of the last two serve what follows.
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90 120)
  find_program(IUSCORE_NVIDIA_SMI nvidia-smi NO_CACHE)
  if(IUSCORE_NVIDIA_SMI)
    execute_process(
      COMMAND ${IUSCORE_NVIDIA_SMI} --query-gpu=compute_cap --format=csv,noheader
      RESULT_VARIABLE query_failed OUTPUT_VARIABLE capabilities ERROR_QUIET)
    string(REGEX MATCHALL "[0-9]+\\.[0-9]" capabilities "${capabilities}")
    if(NOT query_failed AND capabilities)
      list(TRANSFORM capabilities REPLACE "([0-9]+)\\.([0-9])" "\\1\\2-real")
      list(REMOVE_DUPLICATES capabilities)
      set(CMAKE_CUDA_ARCHITECTURES ${capabilities})
    endif()
  endif()
endif()
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)

# Ends this file; `why` says why there is no module.
macro(iuscore_without_cuda)
  if(IUSCORE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "IUSCORE_CUDA=ON, but ${why}")
  endif()
  set(IUSCORE_CUDA_STATUS "not built: ${why}")
  return()
endmacro()

# enable_language() ends the configuration where nvcc refuses this host compiler or has no runtime to link, so it is
# asked first.
file(WRITE ${CMAKE_BINARY_DIR}/iuscore_nvcc/probe.cu
     "#include <string>\n__global__ void probe(int* p) { *p = 1; }\nint main() { return cudaGetLastError(); }\n")
set(host_compiler ${CMAKE_CXX_COMPILER})
if(CMAKE_CUDA_HOST_COMPILER)
  set(host_compiler ${CMAKE_CUDA_HOST_COMPILER})
elseif(DEFINED ENV{CUDAHOSTCXX})
  set(host_compiler $ENV{CUDAHOSTCXX})
endif()
execute_process(
  COMMAND ${CMAKE_CUDA_COMPILER} -ccbin ${host_compiler} -std=c++17 -arch=sm_80 probe.cu -o probe
  WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/iuscore_nvcc
  RESULT_VARIABLE probe_failed OUTPUT_VARIABLE probe_output ERROR_VARIABLE probe_output)
if(probe_failed)
  string(REGEX REPLACE "[\r\n;\"]+" " " probe_line "${probe_output}")
  string(SUBSTRING "${probe_line}" 0 300 probe_line)
  set(why "nvcc does not build with ${host_compiler}: ${probe_line}")
  iuscore_without_cuda()
endif()

set(CMAKE_CUDA_HOST_COMPILER ${host_compiler})
enable_language(CUDA)
find_package(CUDAToolkit)
if(NOT TARGET CUDA::cudart_static)
  set(why "CMake finds no static CUDA runtime beside ${CMAKE_CUDA_COMPILER}")
  iuscore_without_cuda()
endif()

# Contraction is off as on the host: the same bits.
set(cuda_flags --fmad=false -Xcompiler=-ffp-contract=off)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
  list(APPEND cuda_flags --compress-mode=size)
endif()
set(cuda_warnings -Xcompiler=-Wall,-Wextra)
if(IUSCORE_WERROR)
  list(APPEND cuda_warnings -Werror=all-warnings -Xcompiler=-Werror)
endif()

pybind11_add_module(_cuda MODULE csrc/bindings/cuda_module.cpp ${binding_sources} ${cuda_sources})
target_include_directories(_cuda PRIVATE csrc)
target_compile_options(_cuda PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${IUSCORE_FLAGS};${IUSCORE_WARNINGS}>"
                                     "$<$<COMPILE_LANGUAGE:CUDA>:${cuda_flags};${cuda_warnings}>")
target_link_libraries(_cuda PRIVATE CUDA::cudart_static)
target_compile_definitions(
  _cuda PRIVATE IUSCORE_CUDA_MODULE IUSCORE_COMMIT="${IUSCORE_COMMIT}" IUSCORE_NVCC="${CMAKE_CUDA_COMPILER_VERSION}"
                IUSCORE_CUDA_ARCHITECTURES="$<JOIN:${CMAKE_CUDA_ARCHITECTURES}, >")
install(TARGETS _cuda LIBRARY DESTINATION iuscore)
set(IUSCORE_CUDA_STATUS "built")
