// Recording of the stream into a CUDA graph (core/device_graph.h). Between begin and end the calls
// that put work on the stream take it down instead; what would make the host wait, or bake a value
// of the host into the graph, is refused by the backend before CUDA sees it.
#include "basin/kernels/cuda/runtime.cuh"

namespace basin::cuda {
namespace {

thread_local bool taking_down = false;

void begin_recording() {
  enter();
  if (taking_down) refuse_while_recording("a second recording begins");
  check_cuda(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal),
             "cuda: beginning a recording");
  taking_down = true;
}

void* end_recording(bool keep) {
  taking_down = false;
  cudaGraph_t graph = nullptr;
  const cudaError_t status = cudaStreamEndCapture(stream(), &graph);
  if (!keep) {  // the error of the work itself is on its way
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();
    return nullptr;
  }
  check_cuda(status, "cuda: ending a recording");
  cudaGraphExec_t ready = nullptr;
  const cudaError_t made = cudaGraphInstantiate(&ready, graph, 0);
  cudaGraphDestroy(graph);
  check_cuda(made, "cuda: making a graph");
  return ready;
}

void replay(void* graph) {
  enter();
  if (taking_down) refuse_while_recording("a graph is started");
  check_cuda(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream()),
             "cuda: starting a graph");
  check_launch("cuda: graph");
}

void destroy_graph(void* graph) {
  if (graph != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
}

}  // namespace

bool recording() { return taking_down; }

void refuse_while_recording(const char* what) {
  fail(ErrorKind::usage, "device graph: ", what,
       " while work is recorded; take it out of the step, or run without a graph (--graph off)");
}

void add_graphs(DeviceBackend& backend) {
  backend.begin_recording = begin_recording;
  backend.end_recording = end_recording;
  backend.replay = replay;
  backend.destroy_graph = destroy_graph;
}

}  // namespace basin::cuda
