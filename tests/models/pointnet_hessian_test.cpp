// The Hessian of a tiny PointNet (268 parameters, f64), dense, through both modes of batch norm.
#include "basin/tests/models/dense_hessian.h"

namespace basin {
namespace {

TEST_CASE("pointnet hessian: port, batch statistics") {
  testing::check_hessian(make_pointnet(testing::tiny_config()), testing::batch_mode(), 1);
}

TEST_CASE("pointnet hessian: port, running statistics") {
  testing::check_hessian(make_pointnet(testing::tiny_config()), ForwardOptions::evaluation(), 1);
}

TEST_CASE("pointnet hessian: original, batch statistics") {
  PointNetConfig config = testing::tiny_config(true);
  config.widths.w2 = 2;
  testing::check_hessian(make_pointnet(config), testing::batch_mode(), 5);
}

TEST_CASE("pointnet hessian: port, plain ops, batch statistics") {
  PointNetConfig config = testing::tiny_config();
  config.fused = false;
  testing::check_hessian(make_pointnet(config), testing::batch_mode(), 5);
}

}  // namespace
}  // namespace basin
